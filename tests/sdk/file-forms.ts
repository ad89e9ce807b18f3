/** A form with one file in it, as its library writes it. */
export interface FileForm {
  readonly type: string;
  readonly body: Buffer;
}

/** How a library writes a form: its boundary and the lines above the file. */
interface FormStyle {
  readonly boundary: string;
  readonly lines: (filename: string, size: number) => readonly string[];
}

const PLAIN = 'Content-Disposition: form-data; name="media"; filename=';

/** Apache's MultipartEntityBuilder in RFC 6532 mode: the name stands there in UTF-8. */
export const apacheForm = style({
  boundary: "oZ3cPqv9QkHqYm2bT0wqVqL7Z1d4lJ",
  lines: (name) => [
    `${PLAIN}"${name}"`,
    "Content-Type: application/octet-stream",
    "Content-Transfer-Encoding: binary",
  ],
});

/** OkHttp's MultipartBody, with a length for each part. */
export const okHttpForm = style({
  boundary: "6b9a1c1e-4b0c-4a63-9d53-0a6a2ff6f2a1",
  lines: (name, size) => [
    `${PLAIN}"${name}"`,
    "Content-Type: application/octet-stream",
    `Content-Length: ${size}`,
  ],
});

/** Go's mime/multipart. */
export const goForm = style({
  boundary: "d41d8cd98f00b204e9800998ecf8427ed41d8cd98f00b204e9800998ecf8",
  lines: (name) => [`${PLAIN}"${name}"`, "Content-Type: application/octet-stream"],
});

/** Symfony's FormDataPart: the type first, and an encoding. */
export const symfonyForm = style({
  boundary: "_=_symfony_1700000000_0a1b2c3d4e5f60718293a4b5c6d7e8f9_=_",
  lines: (name) => ["Content-Type: image/jpeg", "Content-Transfer-Encoding: 8bit", `${PLAIN}"${name}"`],
});

/** urllib3's, below requests: a file without a type. */
export const requestsForm = style({
  boundary: "f1b3a5d7c9e80246f1b3a5d7c9e80246",
  lines: (name) => [`${PLAIN}"${name}"`],
});

/** Senparc.CO2NET's: the file says its length, and claims to be a form itself. */
export const co2NetForm = style({
  boundary: "----8dbf0c2a5e4d3f1",
  lines: (name, size) => [`${PLAIN}"${name}"; filelength=${size}`, "Content-Type: multipart/form-data"],
});

function style({ boundary, lines }: FormStyle): (filename: string, file: Uint8Array) => FileForm {
  return (filename, file) => ({
    type: `multipart/form-data; boundary=${boundary}`,
    body: Buffer.concat([
      Buffer.from([`--${boundary}`, ...lines(filename, file.byteLength), "", ""].join("\r\n")),
      file,
      Buffer.from(`\r\n--${boundary}--\r\n`),
    ]),
  });
}
