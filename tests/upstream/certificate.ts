import { generateKeyPairSync, sign } from "node:crypto";

/** A server's key and certificate, as PEM. */
export interface ServerCertificate {
  readonly key: string;
  readonly cert: string;
}

/** A certificate of `name` that nobody but its own key has signed, for a server of a test. It is good for a day. */
export function selfSigned(name: string): ServerCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const time = (at: number) =>
    der(0x17, `${new Date(at).toISOString().slice(2, 19).replaceAll(/[-:T]/g, "")}Z`);
  const algorithm = sequence(ECDSA_WITH_SHA256);
  const holder = sequence(der(SET, sequence(COMMON_NAME, der(0x0c, name))));
  const now = Date.now();
  const isCa = sequence(BASIC_CONSTRAINTS, der(OCTETS, sequence(der(0x01, Buffer.of(0xff)))));
  const names = sequence(ALTERNATIVE_NAMES, der(OCTETS, sequence(der(0x82, name))));
  const contents = sequence(
    der(0xa0, der(INTEGER, Buffer.of(2))),
    der(INTEGER, Buffer.of(1)),
    algorithm,
    holder,
    sequence(time(now - DAY_MS / 2), time(now + DAY_MS / 2)),
    holder,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(isCa, names)),
  );
  const signature = Buffer.concat([Buffer.of(0), sign("sha256", contents, privateKey)]);
  const whole = sequence(contents, algorithm, der(0x03, signature));
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    cert: `-----BEGIN CERTIFICATE-----\n${whole.toString("base64")}\n-----END CERTIFICATE-----\n`,
  };
}

const DAY_MS = 86_400_000;
const [INTEGER, OCTETS, SET] = [0x02, 0x04, 0x31];
const ECDSA_WITH_SHA256 = der(0x06, Buffer.from("2a8648ce3d040302", "hex"));
const COMMON_NAME = der(0x06, Buffer.from("550403", "hex"));
const BASIC_CONSTRAINTS = der(0x06, Buffer.from("551d13", "hex"));
const ALTERNATIVE_NAMES = der(0x06, Buffer.from("551d11", "hex"));

/** One value of ASN.1, as X.509 writes it. */
function der(tag: number, value: Buffer | string): Buffer {
  const { length } = Buffer.from(value);
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), Buffer.from(value)]);
}

function sequence(...values: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(values));
}
