/** Links between pages: where they lead, and whether that is there. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import GithubSlugger from "github-slugger";
import { fromMarkdown } from "mdast-util-from-markdown";
import { toString as textOf } from "mdast-util-to-string";
import { visit } from "unist-util-visit";

export interface Link {
  readonly line: number;
  /** As it is written. */
  readonly url: string;
}

export interface Linked {
  readonly links: readonly Link[];
  /** Anchors of headings, as GitHub makes them. */
  readonly anchors: ReadonlySet<string>;
}

export function linksIn(text: string): Linked {
  const links: Link[] = [];
  const anchors = new Set<string>();
  const slugger = new GithubSlugger();
  visit(fromMarkdown(text), (node) => {
    if (node.type === "heading") anchors.add(slugger.slug(textOf(node)));
    if (node.type === "link" || node.type === "image" || node.type === "definition") {
      links.push({ line: node.position?.start.line ?? 0, url: node.url });
    }
  });
  return { links, anchors };
}

/** @returns what leads nowhere, as `page:line: url`; links to other sites are not followed */
export function brokenLinks(path: string): string[] {
  const { links, anchors } = linksIn(readFileSync(path, "utf8"));
  const isBroken = ({ url }: Link) => {
    if (/^[a-z]+:/.test(url)) return false;
    const [file = "", anchor] = url.split("#");
    const target = file === "" ? path : normalize(join(dirname(path), file));
    if (!existsSync(target)) return true;
    const there = target === path ? anchors : linksIn(readFileSync(target, "utf8")).anchors;
    return anchor !== undefined && !there.has(anchor);
  };
  return links.filter(isBroken).map(({ line, url }) => `${path}:${line}: ${url}`);
}
