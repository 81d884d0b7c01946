import { describe, expect, it } from "vitest";
import { S3Error } from "./errors.ts";
import { parseXml } from "./xml.ts";

describe("parseXml", () => {
  it("reads elements, entities, comments and attributes", () => {
    const text = '<?xml version="1.0"?>\n<a xmlns="x"><!-- c --><b>&lt;&#65;&#x42;&amp;</b><c/></a>';
    expect(parseXml(text, "a").children).toMatchObject([
      { name: "b", text: "<AB&" },
      { name: "c", text: "" },
    ]);
  });

  it.each([
    "",
    "text",
    "<a>",
    "<a></b>",
    "<a/><a/>",
    "text<a/>",
    "<a>&nbsp;</a>",
    "<a>&amp</a>",
    "<a b=c/>",
    "<b/>",
    "</a>",
  ])("refuses %s", (text) => {
    expect(() => parseXml(text, "a")).toThrow(S3Error);
  });
});
