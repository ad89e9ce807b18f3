import type { CredentialKind } from "../credentials/kinds.ts";
import type { Secret } from "../secret.ts";
import type { PageClaims } from "./page-claims.ts";
import { jsApiText, sha1 } from "./page-signer.ts";
import { urlVariants } from "./url-variants.ts";

/** A value with which a page may have been signed, rightly or not. */
export interface TriedTicket {
  /** The public name of its app, and its AppID or CorpID. */
  readonly app: string;
  readonly appId: string;
  readonly kind: CredentialKind;
  /** Whether another has replaced it. */
  readonly isPrevious?: boolean;
  readonly value: Secret;
}

/** What the page signed: the one of all that were tried that gives its signature. */
export interface Match {
  readonly url: string;
  readonly ticket: TriedTicket;
  readonly timestamp: string;
  /** The string that was hashed, its ticket masked. */
  readonly text: string;
  readonly isUsualForm: boolean;
}

/** So much of a ticket is shown. */
const SHOWN = 6;

/** So many addresses are tried. */
const MAX_VARIANTS = 400;

/** A ticket as it may be shown. */
export function masked(ticket: Secret): string {
  return `${ticket.reveal().slice(0, SHOWN)}…`;
}

type HashInput = Parameters<typeof jsApiText>[0];

/** How the string is put together by mistake. */
const FORMS: readonly ((input: HashInput) => string)[] = [
  jsApiText,
  (input) => jsApiText(input).replace("&noncestr=", "&nonceStr="),
  (input) => jsApiText(input).replace("&noncestr=", "&nonceStr=").replace("&timestamp=", "&timeStamp="),
  (input) => jsApiText(input).replace("jsapi_ticket=", "ticket="),
  (input) => `${jsApiText(input)}\n`,
];

/** What a search goes by. */
export interface SearchInput {
  readonly claims: PageClaims;
  /** What the app has: first the ticket that is right for the call. */
  readonly tickets: readonly [TriedTicket, ...TriedTicket[]];
  /** What other apps have. */
  readonly others: readonly TriedTicket[];
}

/** Tries what the page may have signed, until its signature comes out. */
export class SignatureSearch {
  readonly #input: SearchInput;
  readonly #variants: ReturnType<typeof urlVariants>;
  #signatures = 0;

  /** `expected` is the address that should have been signed. */
  constructor(input: SearchInput, expected: string) {
    this.#input = input;
    const { url, href, landingUrl } = input.claims;
    const given = [url, href, landingUrl, expected].filter((each) => each !== undefined);
    this.#variants = isComplete(input.claims) ? urlVariants(given, MAX_VARIANTS) : [];
  }

  /** How much was tried until now. */
  get tried() {
    const { tickets, others } = this.#input;
    const isRun = this.#variants.length > 0;
    return {
      urls: this.#variants.length,
      tickets: isRun ? tickets.length + others.length : 0,
      signatures: this.#signatures,
    };
  }

  /** Undefined where nothing gives it, or too little is known of the page. */
  run(): Match | undefined {
    const { tickets, others, claims } = this.#input;
    const given = claims.timestamp ?? "";
    const near = this.#variants.filter(({ changes }) => changes <= 1);
    const other = [`${given}000`, given.replace(/^(\d{10})\d{3}$/, "$1")].filter((each) => each !== given);
    return (
      this.#try(this.#variants, tickets, [given], FORMS.slice(0, 1)) ??
      this.#try(near, tickets, [given], FORMS.slice(1)) ??
      this.#try(near, tickets, other, FORMS.slice(0, 1)) ??
      this.#try(near, others, [given], FORMS.slice(0, 1))
    );
  }

  #try(
    variants: ReturnType<typeof urlVariants>,
    tickets: readonly TriedTicket[],
    timestamps: readonly string[],
    forms: typeof FORMS,
  ): Match | undefined {
    const { signature = "", nonce = "" } = this.#input.claims;
    const wanted = signature.toLowerCase();
    for (const { url } of variants) {
      for (const ticket of tickets) {
        for (const timestamp of timestamps) {
          for (const form of forms) {
            this.#signatures += 1;
            const signed = { ticket: ticket.value.reveal(), nonce, timestamp, url };
            if (sha1(form(signed)) !== wanted) continue;
            const text = form({ ...signed, ticket: masked(ticket.value) });
            return { url, ticket, timestamp, text, isUsualForm: form === jsApiText };
          }
        }
      }
    }
    return undefined;
  }
}

/** Whether there is all that a search for the signature needs. */
export function isComplete({ signature, timestamp, nonce }: PageClaims): boolean {
  return signature !== undefined && /^[0-9a-f]{40}$/i.test(signature) && !!timestamp && nonce !== undefined;
}
