/**
 * An errcode that the sandbox answers instead of doing what was asked.
 *
 * The host that catches it adds what its platform adds: a request id on api.weixin.qq.com, a hint and the
 * caller's address on qyapi.weixin.qq.com.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly errcode: number;

  /** `errmsg` is the stem of the text, without request id or hint. */
  constructor(errcode: number, errmsg: string) {
    super(errmsg);
    this.errcode = errcode;
  }
}
