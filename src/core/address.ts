/**
 * Removes credentials from addresses before they are shown or recorded. Passwords and tokens stand before the host, in
 * the query, in the fragment or after a semicolon, and people mistype slashes. URL parsers disagree about such
 * addresses, so this is a strict parser of our own: an ambiguous address is not recorded.
 */

/** Characters. No person or service writes a longer address. */
const maxLength = 2_000;

/** `http` needs no slashes, as in browsers: `https:user:token@host` is a URL with a token. */
const url = /^(?:(https?|ftps?):[\\/]*|([a-z][a-z0-9+.-]+):\/\/)(.*)$/is;

/** Schemes whose user name is part of the address and no secret, as in `ssh://git@host`. */
const namesUser = /^(ssh|git\+ssh|ssh\+git|svn\+ssh|sftp)$/i;

/** User names are short (https://man7.org/linux/man-pages/man8/useradd.8.html), tokens are not. */
const userName = /^[\w.-]{1,32}$/;

const host = /^(\[[0-9a-f:.]+\]|[\p{L}\p{N}._-]*)(:\d{0,5})?$/iu;

/**
 * The address of a repository or a page without credentials; null when they cannot be told apart. Parses URLs,
 * `user@host:path`, `helper::address` and paths: https://git-scm.com/docs/git-clone#_git_urls
 */
export function publicAddress(address: string): string | null {
  if (address.length > maxLength || /\p{Cc}/u.test(address)) return null;
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
  // A local path.
  if (/^file:\/{3}/i.test(address)) return address;
  const [, http, other, rest = ""] = url.exec(address) ?? [];
  const scheme = http ?? other ?? "";
  const [authority, path] = cutAt(rest, /[\\/?#]/);
  const at = authority.lastIndexOf("@");
  const place = authority.slice(at + 1).replace(/;.*$/, "");
  // An `@` after the host may end a password that contains a slash.
  if (place === "" || !host.test(place) || path.includes("@")) return null;
  const user = namesUser.test(scheme) && at > 0 ? authority.slice(0, at).split(/[:;]/)[0] : undefined;
  return `${scheme}://${user !== undefined && userName.test(user) ? `${user}@` : ""}${place}${publicPath(path)}`;
}

/** `user@host:path`, as in ssh and scp. */
function publicRemote(address: string): string | null {
  const [, user = "", place = "", path = ""] = /^(?:([^@:/]+)@)?(\[[^\]@]+\]|[^@:/]+):([^@]*)$/.exec(address) ?? [];
  const name = user.split(";")[0] ?? "";
  if (!host.test(place) || place === "" || (name !== "" && !userName.test(name))) return null;
  return `${name && `${name}@`}${place}:${publicPath(path)}`;
}

/** A path on this machine or its network, which cannot hold a secret. */
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

/** URLs within a text. */
const urls = /(?:(?:https?|ftps?):|[a-z][a-z0-9+.-]{1,30}:\/\/)[^\s"'<>]+/gi;

/** Replaces what {@link publicAddress} strips from URLs in a text by `hidden`; the URLs keep their places. */
export function withPublicAddresses(text: string, hidden: string): string {
  return text.replace(urls, (address) => {
    const [, , other, rest = ""] = url.exec(address) ?? [];
    if (other?.toLowerCase() === "file") return address;
    // A password may contain any of the other separators.
    const end = rest.lastIndexOf("@");
    const user = end < 0 ? "" : `${hidden}@`;
    const [beforeQuery, query] = cutAt(rest.slice(end + 1), /\?/);
    const [path, fragment] = cutAt(beforeQuery, /#/);
    const start = address.slice(0, address.length - rest.length);
    const tail = [
      fragment.includes("=") ? `#${hidden}` : fragment,
      // A bare `?` may end a sentence.
      /\w/.test(query) ? `?${hidden}` : query,
    ];
    return start + user + path.replace(/;[^\\/;]*=[^\\/;]*/g, `;${hidden}`) + tail.join("");
  });
}
