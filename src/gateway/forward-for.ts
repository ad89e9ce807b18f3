import type { Caller } from "../clients/caller.ts";
import { ServiceError } from "../errors.ts";
import type { ForwardAnswer, Forwarder, ForwardRequest } from "./forwarder.ts";

/** Sends a request up, and notes on the caller for whom that is whether it may have been carried out. Throws as `forward`. */
export async function forwardFor(
  caller: Caller,
  forwarder: Forwarder,
  request: ForwardRequest,
): Promise<ForwardAnswer> {
  caller.mayHaveCalled = true;
  try {
    return await forwarder.forward(request);
  } catch (error) {
    // Nothing was sent; and where this was to heal, the platform has refused what was sent before.
    if (error instanceof ServiceError && error.code === "upstream_unreachable") caller.mayHaveCalled = false;
    throw error;
  }
}
