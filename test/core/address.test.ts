/** What of an address is recorded, and what of the addresses in a message is shown. */
import { describe, expect, test } from "vitest";
import { publicAddress } from "../../src/core/address.ts";
import { withoutSecrets } from "../../src/core/secrets.ts";
import { cpuMs } from "../support/cpu-time.ts";

describe("an address is recorded", () => {
  test.each([
    ["https://user:secret@host/a.git?token=secret#secret", "https://host/a.git"],
    ["https://secret@host/a.git", "https://host/a.git"],
    ["https://user:sec@ret@host:8443/a.git", "https://host:8443/a.git"],
    ["https:/user:secret@host/a.git", "https://host/a.git"],
    ["https:user:secret@host/a.git", "https://host/a.git"],
    ["https:///user:secret@host/a.git", "https://host/a.git"],
    ["HTTPS:\\\\user:secret@host/a.git", "HTTPS://host/a.git"],
    ["https://user;auth=secret@host/a.git", "https://host/a.git"],
    ["https://host/a;token=secret/b;c=secret", "https://host/a/b"],
    ["https://host;token=secret/a.git", "https://host/a.git"],
    ["https://[::1]:80/a.git", "https://[::1]:80/a.git"],
    ["https://dev.azure.com/team/", "https://dev.azure.com/team/"],
    ["https://host", "https://host"],
    ["https://bücher.example/a", "https://bücher.example/a"],
    ["git://host/~ada/a.git", "git://host/~ada/a.git"],
    ["s3://bucket/a", "s3://bucket/a"],
    ["file:///srv/ada@work/a.git", "file:///srv/ada@work/a.git"],
    ["ssh://git:secret@host/a.git", "ssh://git@host/a.git"],
    ["ssh://git;fingerprint=secret@host:2222/a.git", "ssh://git@host:2222/a.git"],
    ["ssh://secret-of-forty-letters-which-no-user-is-called@host/a", "ssh://host/a"],
    ["git@host:a/b.git", "git@host:a/b.git"],
    ["git@[::1]:a/b.git", "git@[::1]:a/b.git"],
    ["git;secret@host:a", "git@host:a"],
    ["host:a?token=secret", "host:a"],
    ["host:a;token=secret", "host:a"],
    ["https::https://user:secret@host/a", "https::https://host/a"],
    ["codecommit::us-east-1://profile@Engine", "codecommit::us-east-1://Engine"],
    ["/srv/git/ada@work.git", "/srv/git/ada@work.git"],
    ["../engine", "../engine"],
    ["C:\\git\\engine", "C:\\git\\engine"],
    ["C:/git/engine", "C:/git/engine"],
    ["engine", "engine"],
  ])("%s as %s", (address, recorded) => {
    expect(publicAddress(address)).toBe(recorded);
  });

  test.each([
    "ext::sh -c 'TOKEN=secret git-proxy'",
    "fd::17/secret",
    "ssh:/user:secret@host/a.git",
    "user:secret@host:a.git",
    "user:secret@host/a.git",
    "secret@host/a.git",
    "//user:secret@host/a.git",
    "https://user:sec/ret@host/a.git",
    "https://user:12/ret@host/a.git",
    "https://user:sec#ret@host/a.git",
    "https://user:sec?ret@host/a.git",
    "https://user:secret",
    "https://",
    "https://host/a\nsecret",
    `https://host/${"a".repeat(2_000)}`,
  ])("as null where it may hold a secret: %s", (address) => {
    expect(publicAddress(address)).toBeNull();
  });
});

describe("a message shows of an address", () => {
  test.each([
    ["Cannot reach http://127.0.0.1:1/?x=secret, so", "Cannot reach http://127.0.0.1:1/?*** so"],
    ["'https://user:sec#r?e@t@host/a'", "'https://***@host/a'"],
    ["https:/user:secret@host/a", "https:/***@host/a"],
    ["https://host/a;token=secret/b;c?d=secret#e=secret", "https://host/a;***/b;c?***"],
    ["https://host/a#access_token=secret", "https://host/a#***"],
    ["see https://host/a#part, is it https://host/b?", "see https://host/a#part, is it https://host/b?"],
    ["s3://KEY:se/cret@bucket/a", "s3://***@bucket/a"],
    ["file:///srv/ada@work/what?", "file:///srv/ada@work/what?"],
    ["ada@host: 12:30", "ada@host: 12:30"],
  ])("%s: %s", (message, shown) => {
    expect(withoutSecrets(message)).toBe(shown);
    expect(withoutSecrets(shown)).toBe(shown);
  });

  test.each(["?#;=@", "://", "https:", "a", "#", ";a", "@"])("in a time that grows with it: %s", (piece) => {
    expect(cpuMs(() => withoutSecrets(`https://${piece.repeat(200_000)}`))).toBeLessThan(2_000);
  });
});
