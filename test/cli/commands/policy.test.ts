/** `docproc policy`: what is printed. That it is the right policy, is for test/aws/permissions.test.ts. */
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import type { PolicyDocument } from "../../../src/aws/permissions.ts";
import { findOnPath } from "../../support/on-path.ts";
import { makeSandbox, runDocproc } from "../../support/run.ts";

// Nothing answers there: a call of AWS would fail.
const nowhere = ["--endpoint-url", "http://127.0.0.1:1"];
const onAws = ["--bucket", "team-documents", "--region", "eu-west-1", "--bucket-owner", "123456789012", ...nowhere];

const policy = async (...argv: string[]) => await runDocproc(await makeSandbox(), ["policy", ...argv]);

function resources({ Statement }: PolicyDocument): Record<string, string> {
  return Object.fromEntries(Statement.map(({ Sid, Resource }) => [Sid, Resource]));
}

describe("a policy", () => {
  test("is printed as IAM takes it", async () => {
    const outcome = await policy("read", ...onAws);
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(outcome.json()).toEqual({
      Version: "2012-10-17",
      Statement: [
        {
          Sid: "DocprocBucket",
          Effect: "Allow",
          Action: ["s3:ListBucket"],
          Resource: "arn:aws:s3:::team-documents",
        },
        {
          Sid: "DocprocObjects",
          Effect: "Allow",
          Action: ["s3:GetObject"],
          Resource: "arn:aws:s3:::team-documents/*",
        },
        {
          Sid: "DocprocTable",
          Effect: "Allow",
          Action: ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"],
          Resource: "arn:aws:dynamodb:eu-west-1:123456789012:table/team-documents",
        },
      ],
    });
  });

  test("has an envelope for programs", async () => {
    const plain = (await policy("upload", ...onAws)).json();
    const envelope = { schema: "docproc.policy/1", role: "upload", policy: plain };
    expect((await policy("upload", ...onAws, "--json")).json()).toEqual(envelope);
    expect((await policy("upload", ...onAws, "--format", "json", "--ndjson")).json()).toEqual(envelope);
  });

  test("to upload does not allow listing, scanning or settings; the one for administrators allows everything", async () => {
    const actions = async (role: string) =>
      ((await policy(role, ...onAws)).json() as PolicyDocument).Statement.flatMap(({ Action }) => Action);
    const [upload, read, admin] = [await actions("upload"), await actions("read"), await actions("admin")];
    expect(upload).toContain("s3:PutObject");
    expect([...upload, ...read].filter((action) => /Scan|Bucket(Policy|Own)|Table|Create/.test(action))).toEqual([]);
    expect(read.filter((action) => !/:(Batch)?(Get|List|Query)/.test(action))).toEqual([]);
    expect(admin).toEqual(expect.arrayContaining([...upload, ...read]));
    expect([...upload, ...read, ...admin].filter((action) => action.includes("*"))).toEqual([]);
  });

  test("is for the prefix and the table that are configured, in any part of AWS", async () => {
    const of = async (...argv: string[]) => resources((await policy("upload", "--bucket", "b-1", ...argv)).json());
    expect(await of("--prefix", "team/a", "--table", "records", "--region", "cn-north-1")).toEqual({
      DocprocBucket: "arn:aws-cn:s3:::b-1",
      DocprocObjects: "arn:aws-cn:s3:::b-1/team/a/*",
      DocprocTable: "arn:aws-cn:dynamodb:cn-north-1:*:table/records",
    });
    expect((await of("--region", "us-gov-west-1"))["DocprocTable"]).toBe(
      "arn:aws-us-gov:dynamodb:us-gov-west-1:*:table/b-1",
    );
    expect((await of("--region", "us-east-1"))["DocprocBucket"]).toBe("arn:aws:s3:::b-1");
    expect(Object.keys(await of("--storage", "s3", "--metadata", "local"))).toEqual([
      "DocprocBucket",
      "DocprocObjects",
    ]);
    expect(resources((await policy("read", "--metadata", "dynamodb", "--table", "records")).json())).toEqual({
      DocprocTable: "arn:aws:dynamodb:*:*:table/records",
    });
  });

  test.each([
    [["upload"], /not on AWS/],
    [["write", ...onAws], /no policy for the role "write"/],
    [["upload", ...onAws, "--format", "yaml"], /as "yaml"/],
    [["upload", ...onAws, "--format", "terraform", "--json"], /one form/],
    [["upload", ...onAws, "--quiet"], /one form/],
    [[...onAws], /missing required argument/i],
  ])("is refused for %j", async (argv, message) => {
    const { status, stderr } = await policy(...argv);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });

  test("says what is missing of the settings", async () => {
    const outcome = await policy("upload", "--storage", "s3", "--json");
    expect(outcome.json()).toMatchObject({ code: "INVALID_CONFIG", hint: "Add --bucket NAME." });
  });
});

describe("for Terraform", () => {
  // Not every machine has it; what it would refuse is looked for without it, too.
  const terraform = findOnPath("terraform");

  test("it is a resource with the same policy, in the form of terraform fmt", async () => {
    for (const role of ["upload", "read", "admin"]) {
      const { stdout } = await policy(role, ...onAws, "--format", "terraform");
      if (terraform)
        expect(execFileSync(terraform, ["fmt", "-"], { input: stdout, stdio: "pipe" }).toString()).toBe(stdout);
      expect(stdout).toMatch(
        new RegExp(`^resource "aws_iam_policy" "docproc_${role}" {\n  name = "docproc-${role}"\n`),
      );
      const [, encoded = ""] = /jsonencode\((.*)\)\n}\n$/s.exec(stdout) ?? [];
      // What is written as JSON but for the names of its fields and the last commas is JSON with those changed.
      const json = encoded.replace(/^(\s*)(\w+)\s*= /gm, '$1"$2": ').replace(/([\]"])\n(\s*")/g, "$1,\n$2");
      const parsed = JSON.parse(json.replace(/,(\s*[\]}])/g, "$1"));
      expect(parsed).toEqual((await policy(role, ...onAws)).json());
    }
  });
});
