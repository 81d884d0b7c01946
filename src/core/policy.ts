/** The roles of a library's users, and what each may do. */

/** `upload` uploads and tags, `read` lists and reads, `admin` does everything. */
export const roles = ["upload", "read", "admin"] as const;
export type Role = (typeof roles)[number];

/** The roles that a permission is for. */
export const everyone: readonly Role[] = roles;
export const writers: readonly Role[] = ["upload", "admin"];
export const admins: readonly Role[] = ["admin"];

/** A statement of an IAM policy. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html */
export interface PolicyStatement {
  readonly Sid: string;
  readonly Effect: "Allow";
  readonly Action: readonly string[];
  readonly Resource: string;
}
