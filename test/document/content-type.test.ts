import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { detectContentType, sniffLength } from "../../src/document/content-type.ts";

/** Text is its UTF-8, a number is a byte. */
function bytes(...parts: (string | number | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.map((part) =>
      typeof part === "number" ? Buffer.of(part) : typeof part === "string" ? Buffer.from(part) : part,
    ),
  );
}

/** A zip of one stored file, as far as its first header. */
function zip(name: string, content = "x"): Buffer {
  const header = Buffer.alloc(30);
  header.write("PK\u0003\u0004");
  header.writeUInt16LE(20, 4);
  header.writeUInt32LE(content.length, 18);
  header.writeUInt32LE(content.length, 22);
  header.writeUInt16LE(name.length, 26);
  return bytes(header, name, content);
}

const pdf = bytes("%PDF-1.7\n%", 0xe2, 0xe3, 0xcf, 0xd3, "\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n");
const png = bytes(
  0x89,
  "PNG\r\n",
  0x1a,
  "\n",
  0,
  0,
  0,
  13,
  "IHDR",
  0,
  0,
  0,
  1,
  0,
  0,
  0,
  1,
  8,
  6,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  1,
  "IDAT",
);
const elf = bytes(0x7f, "ELF", 2, 1, 1, 0, Buffer.alloc(56));
const wasm = bytes(0, "asm", 1, 0, 0, 0);
const gzip = gzipSync("content");
const oleFile = bytes(0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, Buffer.alloc(64));
const transportStream = Buffer.concat(Array.from({ length: 5 }, () => bytes(0x47, Buffer.alloc(187))));
const binary = bytes(0, 1, 2, 3, 0xfa, 0xfb, 0, 9, 0xc8, 0);
const text = bytes("hello, wörld\n");
const svg = bytes('<svg xmlns="http://www.w3.org/2000/svg"/>');

const docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

describe("the bytes decide", () => {
  test.each([
    ["report.pdf", pdf, "application/pdf"],
    ["report", pdf, "application/pdf"],
    ["report.json", pdf, "application/pdf"],
    ["report.docx", pdf, "application/pdf"],
    ["photo.png", png, "image/png"],
    ["photo.jpg", png, "image/png"],
    ["photo.txt", png, "image/png"],
    ["module.wasm", wasm, "application/wasm"],
    ["module", wasm, "application/wasm"],
    ["clip.ts", transportStream, "video/mp2t"],
    ["page", bytes('<?xml version="1.0"?><a/>'), "application/xml"],
    ["archive", zip("a.txt"), "application/zip"],
    ["archive", gzip, "application/gzip"],
  ])("%s", async (name, head, type) => {
    expect(await detectContentType(name, head)).toBe(type);
  });

  test("a program that calls itself a PDF is not taken for one", async () => {
    expect(await detectContentType("invoice.pdf", elf)).not.toBe("application/pdf");
  });
});

describe("the name decides what a container holds", () => {
  test.each([
    ["report.docx", zip("[Content_Types].xml", "<Types/>"), docx],
    ["REPORT.DOCX", zip("word/document.xml"), docx],
    ["book.epub", zip("mimetype", "application/epub+zip"), "application/epub+zip"],
    ["library.jar", zip("META-INF/MANIFEST.MF"), "application/java-archive"],
    ["archive.zip", zip("a.txt"), "application/zip"],
    ["archive.bin", zip("a.txt"), "application/zip"],
    ["table.xls", oleFile, "application/vnd.ms-excel"],
    ["docproc-cli-1.0.0.tgz", gzip, "application/gzip"],
    ["logs.tar.gz", gzip, "application/gzip"],
    ["drawing.svg", bytes('<?xml version="1.0"?>', svg), "image/svg+xml"],
  ])("%s", async (name, head, type) => {
    expect(await detectContentType(name, head)).toBe(type);
  });
});

describe("text", () => {
  test.each([
    ["table.csv", text, "text/csv"],
    ["README.md", text, "text/markdown"],
    ["data.json", bytes("{}"), "application/json"],
    ["page.html", text, "text/html"],
    ["drawing.svg", svg, "image/svg+xml"],
    ["build.log", text, "text/plain"],
    ["README", text, "text/plain"],
    ["notes.unheard-of", text, "text/plain"],
    // By its extension a TypeScript file would be a film.
    ["index.ts", text, "text/plain"],
    ["index.mts", text, "text/plain"],
    // A name without a dot is no extension.
    ["doc", text, "text/plain"],
    ["html", text, "text/plain"],
    ["json", text, "text/plain"],
  ])("%s", async (name, head, type) => {
    expect(await detectContentType(name, head)).toBe(type);
  });

  test.each([
    ["a bitmap", "cars.txt", "BMW was founded in 1916.\n"],
    ["music", "tags.csv", "ID3,title,artist\n1,a,b\n"],
    ["a program", "people.txt", "MZ is a pair of initials.\n"],
    ["a solid body", "words.md", "solid advice for everybody\n"],
    ["a registry", "list.txt", "regf is a magic number\n"],
  ])("text that begins like %s is text", async (_what, name, content) => {
    expect(await detectContentType(name, bytes(content.repeat(4)))).toMatch(/^text\//);
  });

  test.each(["\ufeff", "\ufeffa;b\r\n"])("UTF-8 with a byte order mark is text: %j", async (content) => {
    expect(await detectContentType("export", bytes(content))).toBe("text/plain");
  });

  // What spreadsheets and Windows tools write.
  test.each([
    ["export.csv", "text/csv"],
    ["export.txt", "text/plain"],
    ["export.json", "application/json"],
  ])("UTF-16 with a byte order mark has the type of its name: %s", async (name, type) => {
    const little = Buffer.from("\ufeffname;größe\r\n", "utf16le");
    expect(await detectContentType(name, little)).toBe(type);
    expect(await detectContentType(name, Buffer.from(little).swap16())).toBe(type);
  });

  test.each(["é", "€", "\u{1f600}"])("a head that ends within the character %s is still text", async (character) => {
    const whole = bytes(character.repeat(sniffLength)).subarray(0, sniffLength + 8);
    const size = Buffer.byteLength(character);
    for (let cut = 0; cut < size; cut += 1) {
      expect(await detectContentType("README", whole.subarray(0, size * 1_000 - cut))).toBe("text/plain");
    }
  });
});

describe("unknown content", () => {
  test.each([
    ["bytes without a name that says anything", "README", binary],
    ["bytes with an extension that nobody knows", "data.unheard-of", binary],
    ["bytes that begin no character", "three-bytes", Buffer.of(0xfa, 0xfb, 0xfc)],
    ["UTF-8 that breaks off in the middle", "cut", bytes("text", 0xe2, 0x82, 0xac, 0xe2, "text")],
    ["nothing", "empty", Buffer.alloc(0)],
  ])("%s", async (_what, name, head) => {
    expect(await detectContentType(name, head)).toBe("application/octet-stream");
  });

  test.each([
    ["empty.txt", "text/plain"],
    ["empty.csv", "text/csv"],
    ["empty.json", "application/json"],
  ])("of an empty file the name is all there is to know: %s", async (name, type) => {
    expect(await detectContentType(name, Buffer.alloc(0))).toBe(type);
  });

  test("an empty TypeScript file is not a film", async () => {
    expect(await detectContentType("index.ts", Buffer.alloc(0))).not.toMatch(/^video/);
  });

  test.each([pdf, png, gzip, zip("a"), wasm, oleFile])(
    "a head that is cut anywhere never throws: case %#",
    async (head) => {
      for (let length = 0; length <= head.length; length += 1) {
        expect(await detectContentType("x", head.subarray(0, length))).toMatch(/^[a-z]+\/[\w.+-]+$/);
      }
    },
  );
});
