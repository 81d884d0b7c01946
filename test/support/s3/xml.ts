// The XML that S3 reads and writes.
import { malformedXml } from "./errors.ts";

export interface XmlNode {
  readonly name: string;
  readonly children: XmlNode[];
  text: string;
}

export type XmlValue =
  | string
  | number
  | boolean
  | undefined
  | readonly XmlValue[]
  | { readonly [name: string]: XmlValue };

const TOKEN =
  /<\?[^>]*\?>|<!--[\s\S]*?-->|<(\/?)([A-Za-z_][\w.-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/gy;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w*));?/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      const plain = name === undefined ? String.fromCodePoint(code) : ENTITIES[name];
      if (plain === undefined || !whole.endsWith(";")) throw malformedXml();
      return plain;
    },
  );
}

/** Parses one document, checks the name of its root element, and refuses everything that is not well-formed. */
export function parseXml(text: string, root: string): XmlNode {
  const top: XmlNode = { name: "", children: [], text: "" };
  const open = [top];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    const parent = open.at(-1);
    if (match === null || parent === undefined) throw malformedXml();
    const [, slash, name, , selfClosing, characters] = match;
    if (characters !== undefined) {
      if (parent === top && characters.trim() !== "") throw malformedXml();
      parent.text += unescapeXml(characters);
    } else if (slash === "/") {
      if (parent.name !== name || selfClosing !== "") throw malformedXml();
      open.pop();
    } else if (name !== undefined) {
      const node: XmlNode = { name, children: [], text: "" };
      parent.children.push(node);
      if (selfClosing === "") open.push(node);
    }
  }
  const [node, second] = top.children;
  if (node?.name !== root || second !== undefined || open.length !== 1) throw malformedXml();
  return node;
}

export const childNodes = (node: XmlNode | undefined, name: string): XmlNode[] =>
  (node?.children ?? []).filter((child) => child.name === name);
export const childText = (node: XmlNode | undefined, name: string): string | undefined =>
  childNodes(node, name)[0]?.text.trim();

// S3 writes control characters as references that XML 1.0 forbids; encoding-type=url is the documented way around.
const escapeXml = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: S3 escapes exactly these
  text.replace(/[<>&"\u0000-\u0008\u000b-\u001f]/g, (c) => {
    const named = Object.entries(ENTITIES).find(([, plain]) => plain === c);
    return named === undefined ? `&#x${c.charCodeAt(0).toString(16)};` : `&${named[0]};`;
  });

function element(name: string, value: XmlValue): string {
  if (value === undefined) return "";
  if (isList(value)) return value.map((item) => element(name, item)).join("");
  if (typeof value !== "object") return `<${name}>${escapeXml(String(value))}</${name}>`;
  const inner = Object.entries(value).map(([key, item]) => element(key, item));
  return `<${name}>${inner.join("")}</${name}>`;
}
const isList = (value: XmlValue): value is readonly XmlValue[] => Array.isArray(value);

export const nodeXml = (node: XmlNode): string =>
  `<${node.name}>${node.children.length > 0 ? node.children.map(nodeXml).join("") : escapeXml(node.text)}</${node.name}>`;

/** A whole response document; `raw` is XML put inside the root after the elements of `value`. */
export const xmlDocument = (root: string, value: Readonly<Record<string, XmlValue>>, raw = ""): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n` +
  `<${root}${root === "Error" ? "" : ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'}>` +
  `${Object.entries(value)
    .map(([key, item]) => element(key, item))
    .join("")}${raw}</${root}>`;
