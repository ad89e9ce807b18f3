import { TargetFailure, type TargetFailureReason } from "../callbacks/target-request.ts";
import { Networks } from "../access/networks.ts";
import type { Clock } from "../clock.ts";
import { isChannelUrl, isOnLoopback } from "../ops/channel-url.ts";
import type {
  ChannelAddress,
  ChannelKind,
  ChannelSender,
  Message,
  SendOutcome,
} from "../ops/notifications.ts";
import type { Address } from "./addresses.ts";
import { type ChannelAnswer, type ChannelRequest, outcomeOf, requestsFor } from "./channel-requests.ts";
import { TargetAddresses } from "./target-addresses.ts";
import { readCapped, reasonOf, timeUp } from "./target-client.ts";

/** How long a message may take, all of its requests together. */
const SEND_MS = 5000;
const MAX_ANSWER_CHARS = 500;

/** How messages leave this machine. */
export interface ChannelSenderOptions {
  readonly clock: Clock;
  /** The only proxy that is used; not for what is on loopback or among the `networks`. */
  readonly proxyUrl: string | undefined;
  /** Where a webhook of one's own may be besides public addresses over https. */
  readonly networks: Networks;
  /** Overrides the 5 s. */
  readonly sendMs?: number;
  /** Overrides the system's resolver. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

/**
 * Sends messages to the group bots of WeCom, DingTalk and Feishu and to webhooks, and believes nothing: hosts, time and size
 * are bounded, redirects are not followed, and a refusal with HTTP 200 is a refusal. What it returns has neither the key in
 * the URL nor the secret, also where an answer repeats them.
 */
export class HttpChannelSender implements ChannelSender {
  readonly #options: ChannelSenderOptions;
  readonly #addresses: TargetAddresses;

  constructor(options: ChannelSenderOptions) {
    this.#options = options;
    this.#addresses = new TargetAddresses(options.networks, options.lookup);
  }

  async send(address: ChannelAddress, message: Message): Promise<SendOutcome> {
    const outcome = await this.#send(address, message).catch((error: unknown) => failed(error));
    return { ...outcome, answer: withoutKeys(address, outcome.answer) };
  }

  async #send(address: ChannelAddress, message: Message): Promise<SendOutcome> {
    const { clock, sendMs = SEND_MS } = this.#options;
    const url = URL.parse(address.url.reveal());
    if (!url || !isChannelUrl(address.kind, url)) throw new TargetFailure("bad_url");
    const signal = AbortSignal.timeout(sendMs);
    const [first, ...others] = requestsFor(address, message, clock.now());
    if (first === undefined) throw new TargetFailure("bad_url");
    const outcome = outcomeOf(address.kind, await this.#post(address.kind, url, first, signal));
    if (!outcome.ok) return outcome;
    // The message has arrived: what follows it must not bring it again.
    const answers = [outcome.answer];
    for (const request of others) {
      const next = await this.#post(address.kind, url, request, signal).then(
        (answer) => outcomeOf(address.kind, answer),
        failed,
      );
      answers.push(next.answer);
    }
    return { ok: true, answer: answers.join("; ") };
  }

  async #post(
    kind: ChannelKind,
    url: URL,
    request: ChannelRequest,
    signal: AbortSignal,
  ): Promise<ChannelAnswer> {
    try {
      // A look-up of a name can't be ended, only left alone.
      return await Promise.race([this.#exchange(kind, url, request, signal), timeUp(signal)]);
    } catch (error) {
      if (error instanceof TargetFailure) throw error;
      throw new TargetFailure(signal.aborted ? "timeout" : reasonOf(error));
    }
  }

  async #exchange(
    kind: ChannelKind,
    url: URL,
    { query = {}, headers = {}, body }: ChannelRequest,
    signal: AbortSignal,
  ): Promise<ChannelAnswer> {
    const { origin, host, tls, proxy } = await this.#way(kind, url);
    const target = new URL(url);
    for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value);
    const response = await fetch(origin + target.pathname + target.search, {
      method: "POST",
      headers: {
        ...headers,
        ...(host === undefined ? {} : { host }),
        "content-type": "application/json; charset=utf-8",
        // An answer of a few hundred bytes needs no compression, and an inflated one has no bound.
        "accept-encoding": "identity",
      },
      body,
      ...(tls === undefined ? {} : { tls }),
      redirect: "manual",
      decompress: false,
      keepalive: false,
      proxy,
      signal,
    } as BunFetchRequestInit);
    return {
      status: response.status,
      body: await readCapped(response),
      retryAfter: response.headers.get("retry-after"),
    };
  }

  /** Where a request goes: of a webhook to the address that was checked, and to nothing that is looked up again. */
  async #way(kind: ChannelKind, url: URL): Promise<Address & { readonly proxy: string | false }> {
    const { networks, proxyUrl } = this.#options;
    if (kind !== "webhook")
      return { origin: url.origin, proxy: isOnLoopback(url) ? false : (proxyUrl ?? false) };
    const address = await this.#addresses.of(url);
    const { hostname } = new URL(address.origin);
    const isInner = networks.includes(hostname.replace(/^\[|\]$/g, ""));
    return { ...address, proxy: isInner ? false : (proxyUrl ?? false) };
  }
}

const FAILURES: Readonly<Record<TargetFailureReason, { isFinal: boolean; hint: string }>> = {
  bad_url: {
    isFinal: true,
    hint: "渠道的地址不能使用：机器人的请从群里重新复制，自己的须为https (the channel's URL can't be used: copy a bot's from its group again; one of your own must be https)",
  },
  unknown_host: {
    isFinal: false,
    hint: "域名无法解析，请检查地址和DNS (the name has no address: check the URL and DNS)",
  },
  address_not_allowed: {
    isFinal: true,
    hint: "该地址位于内网：确属自己的服务时，请加入CALLBACK_NETWORKS (the address is not public: if it is yours, list it in CALLBACK_NETWORKS)",
  },
  unreachable: {
    isFinal: false,
    hint: "无法连接，请检查本机的网络和代理 (no connection: check this machine's network and proxy)",
  },
  bad_certificate: {
    isFinal: false,
    hint: "不信任对方的证书；自建CA请用NODE_EXTRA_CA_CERTS给出 (the certificate is not trusted; name a CA of your own in NODE_EXTRA_CA_CERTS)",
  },
  timeout: {
    isFinal: false,
    hint: "5秒内没有应答，稍后自动重发 (no answer within 5 s; it is sent again)",
  },
  broken_off: {
    isFinal: false,
    hint: "连接中断，消息可能已送达，稍后自动重发 (the connection broke off; the message may have arrived, and is sent again)",
  },
  answer_too_large: {
    isFinal: false,
    hint: "应答超过64 KiB，不像是机器人，请检查地址 (an answer of more than 64 KiB is not a bot's: check the URL)",
  },
};

function failed(error: unknown): SendOutcome {
  const reason = error instanceof TargetFailure ? error.reason : "broken_off";
  return { ok: false, answer: reason, ...FAILURES[reason] };
}

/** An answer in one line, without what nobody must see: bots repeat in an error what they were sent. */
function withoutKeys({ url, secret }: ChannelAddress, answer: string): string {
  const address = URL.parse(url.reveal());
  const keys = [
    url.reveal(),
    secret?.reveal() ?? "",
    ...(address?.searchParams.values() ?? []),
    ...(address?.pathname.split("/") ?? []).filter((piece) => piece.length >= 16),
  ];
  let text = answer.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, " ");
  for (const key of keys.filter((each) => each.length >= 4).toSorted((a, b) => b.length - a.length))
    text = text.replaceAll(key, "***");
  return text.slice(0, MAX_ANSWER_CHARS);
}
