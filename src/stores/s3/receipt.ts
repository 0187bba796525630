/** What a server's answer to a write tells. Pure. */
/** What the server returns for bytes that it stored. */
export interface S3Receipt {
  etag: string;
  /** Of the bytes, in hexadecimal digits, where the ETag looks like it. */
  md5: string | undefined;
}

interface Taken {
  ETag?: string | undefined;
  ServerSideEncryption?: string | undefined;
  SSECustomerAlgorithm?: string | undefined;
}

export function receiptOf({
  ETag = '',
  ServerSideEncryption,
  SSECustomerAlgorithm,
}: Taken): S3Receipt {
  // With a key of KMS or of the customer, ETags look like digests and are none.
  const isOpaque = ServerSideEncryption?.startsWith('aws:') ?? SSECustomerAlgorithm !== undefined;
  const md5 = isOpaque ? undefined : /^"?([0-9a-f]{32})"?$/i.exec(ETag)?.[1]?.toLowerCase();
  return { etag: ETag, md5 };
}
