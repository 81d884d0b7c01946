// The operations on a bucket as a whole.
import { OWNERSHIPS } from "./bucket-documents.ts";
import { accessDenied, invalidArgument, notFound, S3Error } from "./errors.ts";
import { type Context, type Reply, type Unread, xmlReply } from "./handler.ts";
import { type Bucket, newBucket } from "./state.ts";
import { childText, parseXml } from "./xml.ts";

export function findBucket({ operation, bucketName, key, buckets, headers, options }: Unread): Bucket {
  const { "x-amz-expected-bucket-owner": expectedOwner = options.ownerAccount } = headers;
  const extra = { BucketName: bucketName };
  const size = Buffer.byteLength(key);
  if (!/^(?!\d+\.\d+\.\d+\.\d+$|xn--)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]$/.test(bucketName)) {
    throw new S3Error(400, "InvalidBucketName", "The specified bucket is not valid.", extra);
  }
  if (size > 1024) {
    throw new S3Error(400, "KeyTooLongError", "Your key is too long", { Size: size, MaxSizeAllowed: 1024 });
  }
  if (options.foreignBuckets?.includes(bucketName) === true) {
    const message = "The requested bucket name is not available. Please select a different name and try again.";
    if (operation === "CreateBucket") throw new S3Error(409, "BucketAlreadyExists", message, extra);
    throw accessDenied();
  }
  if (operation === "CreateBucket") return newBucket(options);
  const bucket = buckets.get(bucketName);
  if (bucket === undefined) throw notFound("NoSuchBucket", "The specified bucket does not exist", extra);
  if (!/^\d{12}$/.test(expectedOwner)) {
    const message = "The value of the expected bucket owner parameter must be an AWS Account ID";
    throw new S3Error(400, "InvalidBucketOwnerAWSAccountID", message);
  }
  if (expectedOwner !== options.ownerAccount) throw accessDenied();
  return bucket;
}

export function createBucket(
  { buckets, options: { region }, bucketName, headers, body }: Context,
  bucket: Bucket,
): Reply {
  const config = body.length > 0 ? parseXml(body.toString(), "CreateBucketConfiguration") : undefined;
  const constraint = childText(config, "LocationConstraint");
  if (region === "us-east-1" && constraint === region) {
    throw new S3Error(400, "InvalidLocationConstraint", "The specified location-constraint is not valid");
  }
  if (constraint !== (region === "us-east-1" ? undefined : region)) {
    const message = `The ${constraint ?? "unspecified"} location constraint is incompatible for the region specific endpoint this request was sent to.`;
    throw new S3Error(400, "IllegalLocationConstraintException", message);
  }
  const ownership = headers["x-amz-object-ownership"];
  if (ownership !== undefined && !OWNERSHIPS.test(ownership)) {
    throw invalidArgument("Invalid x-amz-object-ownership header", "x-amz-object-ownership", ownership);
  }
  if (!buckets.has(bucketName)) {
    buckets.set(bucketName, ownership === undefined ? bucket : { ...bucket, ownership });
  } else if (region !== "us-east-1") {
    const message = "Your previous request to create the named bucket succeeded and you already own it.";
    throw new S3Error(409, "BucketAlreadyOwnedByYou", message, { BucketName: bucketName });
  }
  return { status: 200, headers: { location: `/${bucketName}` } };
}

export function headBucket({ options, bucketName }: Context): Reply {
  const headers = { "x-amz-bucket-region": options.region, "x-amz-bucket-arn": `arn:aws:s3:::${bucketName}` };
  return { status: 200, headers };
}

export function getBucketLocation({ options: { region } }: Context): Reply {
  return xmlReply("LocationConstraint", {}, {}, region === "us-east-1" ? "" : region);
}

export function deleteBucket({ buckets, bucketName }: Context, { objects }: Bucket): Reply {
  if (objects.size > 0) throw new S3Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty");
  buckets.delete(bucketName);
  return { status: 204 };
}
