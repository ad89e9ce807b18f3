import { expect, test } from "bun:test";

import { until } from "../support/until.ts";
import { MINUTE } from "./sandbox-harness.ts";
import { CORP, PROVIDER, SUITE, SuiteHarness, TEMPLATE } from "./suite-harness.ts";
