import { Tabs } from "../parts/tabs.tsx";
import { w } from "./words.ts";

/** The way from one tool to the others: stands on each of them. */
export function ToolTabs({ current }: { readonly current: "signature" | "call" | "rid" }) {
  return (
    <Tabs
      current={current}
      tabs={[
        { key: "signature", title: w.signature, path: "/tools/signature" },
        { key: "rid", title: w.rid, path: "/tools/rid" },
        { key: "call", title: w.call, path: "/tools/call" },
      ]}
    />
  );
}
