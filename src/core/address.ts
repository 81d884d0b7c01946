/**
 * Removes credentials from addresses before they are shown or recorded. Passwords and tokens stand before the host, in
 * the query, in the fragment or after a semicolon, and people mistype slashes. URL parsers disagree about such
 * addresses, so this is a strict parser of our own: an ambiguous address is not recorded.
 */

/** Characters; a longer address is not one that a person or a service would have written. */
const longest = 2_000;

/** `http` needs no slashes, as browsers have it: `https:user:token@host` is a URL with a token. */
const url = /^(?:(https?|ftps?):[\\/]*|([a-z][a-z0-9+.-]+):\/\/)(.*)$/is;

/** Schemes where the name before the host is part of the address and no secret, as in `ssh://git@host`. */
const namesUser = /^(ssh|git\+ssh|ssh\+git|svn\+ssh|sftp)$/i;

/** Names of users are short: https://man7.org/linux/man-pages/man8/useradd.8.html. Tokens are not. */
const userName = /^[\w.-]{1,32}$/;

const host = /^(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]*)(:\d{0,5})?$/iu;

/**
 * The address of a repository or a page without anything that lets its reader in, or null where that cannot be told
 * apart. Understood are URLs, `user@host:path`, `helper::address` and paths: https://git-scm.com/docs/git-clone#_git_urls
 */
export function publicAddress(address: string): string | null {
  if (address.length > longest || /\p{Cc}/u.test(address)) return null;
  const [, helper, helped] = /^([a-z0-9][a-z0-9+.-]*)::(.*)$/i.exec(address) ?? [];
  if (helper !== undefined && helped !== undefined) {
    // Other helpers take commands and options: https://git-scm.com/docs/git-remote-ext
    const known = url.test(helped) ? publicAddress(helped) : null;
    return known && `${helper}::${known}`;
  }
  if (url.test(address)) return publicUrl(address);
  return isPath(address) ? address : publicRemote(address);
}

function publicUrl(address: string): string | null {
  // A path on this machine.
  if (/^file:\/{3}/i.test(address)) return address;
  const [, http, other, rest = ""] = url.exec(address) ?? [];
  const scheme = http ?? other ?? "";
  const [authority, path] = cutAt(rest, /[\\/?#]/);
  const at = authority.lastIndexOf("@");
  const place = authority.slice(at + 1).replace(/;.*$/, "");
  // Behind the host it may be the end of a password that has a slash in it.
  if (place === "" || !host.test(place) || path.includes("@")) return null;
  const user = namesUser.test(scheme) && at > 0 ? authority.slice(0, at).split(/[:;]/)[0] : undefined;
  return `${scheme}://${user !== undefined && userName.test(user) ? `${user}@` : ""}${place}${publicPath(path)}`;
}

/** `user@host:path`, as ssh and scp have it. */
function publicRemote(address: string): string | null {
  const [, user = "", place = "", path = ""] = /^(?:([^@:/]+)@)?(\[[^\]@]+\]|[^@:/]+):([^@]*)$/.exec(address) ?? [];
  const name = user.split(";")[0] ?? "";
  if (!host.test(place) || place === "" || (name !== "" && !userName.test(name))) return null;
  return `${name && `${name}@`}${place}:${publicPath(path)}`;
}

/** A path on this machine or in its network, which has no place for a secret. */
function isPath(address: string): boolean {
  if (/^([\\/](?![\\/])|\.{1,2}([\\/]|$)|[a-z]:[\\/])/i.test(address)) return true;
  return !/[@:]/.test(address);
}

function publicPath(path: string): string {
  return cutAt(path, /[?#]/)[0].replace(/;[^\\/]*/g, "");
}

function cutAt(text: string, mark: RegExp): [before: string, from: string] {
  const index = text.search(mark);
  return index < 0 ? [text, ""] : [text.slice(0, index), text.slice(index)];
}

/** A URL within a text. */
const urls = /(?:(?:https?|ftps?):|[a-z][a-z0-9+.-]{1,30}:\/\/)[^\s"'<>]+/gi;

/** A text with `hidden` in place of what {@link publicAddress} leaves out of its URLs. They stay where they are. */
export function withPublicAddresses(text: string, hidden: string): string {
  return text.replace(urls, (address) => {
    const [, , other, rest = ""] = url.exec(address) ?? [];
    if (other?.toLowerCase() === "file") return address;
    // A password may hold any of the other marks.
    const end = rest.lastIndexOf("@");
    const user = end < 0 ? "" : `${hidden}@`;
    const [beforeQuery, query] = cutAt(rest.slice(end + 1), /\?/);
    const [path, fragment] = cutAt(beforeQuery, /#/);
    const start = address.slice(0, address.length - rest.length);
    const tail = [
      fragment.includes("=") ? `#${hidden}` : fragment,
      // In a sentence it may be the mark of a question.
      /\w/.test(query) ? `?${hidden}` : query,
    ];
    return start + user + path.replace(/;[^\\/;]*=[^\\/;]*/g, `;${hidden}`) + tail.join("");
  });
}
