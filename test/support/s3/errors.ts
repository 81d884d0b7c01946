// The errors that S3 answers with. Whatever Amazon S3 refuses is refused here by throwing one of them.

/** What S3 answers instead of a result; `extra` become further elements of the XML error document. */
export class S3Error extends Error {
  readonly status: number;
  readonly code: string;
  readonly extra: Readonly<Record<string, string | number>>;
  constructor(status: number, code: string, message: string, extra: Readonly<Record<string, string | number>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.extra = extra;
  }
}

export const invalidRequest = (message: string): S3Error => new S3Error(400, "InvalidRequest", message);
export const invalidArgument = (message: string, name: string, value: string): S3Error =>
  new S3Error(400, "InvalidArgument", message, { ArgumentName: name, ArgumentValue: value });
export const notFound = (code: string, message: string, extra: Readonly<Record<string, string>> = {}): S3Error =>
  new S3Error(404, code, message, extra);
export const accessDenied = (message = "Access Denied", extra: Readonly<Record<string, string>> = {}): S3Error =>
  new S3Error(403, "AccessDenied", message, extra);
export const badDigest = (algorithm: string): S3Error =>
  new S3Error(400, "BadDigest", `The ${algorithm} you specified did not match the calculated checksum.`);
export const malformedXml = (): S3Error =>
  new S3Error(
    400,
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
  );
export const notImplemented = (header: string, why?: string): S3Error =>
  new S3Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented", {
    Header: header,
    ...(why === undefined ? {} : { additionalMessage: why }),
  });
