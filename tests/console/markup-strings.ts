/** Sets this when any of the strings runs. */
export const MARK = "__ran";

const RUN = `window.${MARK}=1`;
const CALLS = [RUN, `top.${MARK}=1`, `self['${MARK}']=1`, `parent.${MARK}=1`, `eval('${RUN}')`];
const SHAPES: readonly ((call: string) => string)[] = [
  (call) => `<script>${call}</script>`,
  (call) => `"><script>${call}</script>`,
  (call) => `</script><script>${call}</script>`,
  (call) => `<img src=x onerror="${call}">`,
  (call) => `'"><img src=x onerror=${call}>`,
  (call) => `<svg onload="${call}">`,
  (call) => `<svg><animate onbegin="${call}" attributeName=x dur=1s>`,
  (call) => `<svg><a xlink:href="javascript:${call}"><text>x</text></a></svg>`,
  (call) => `<math href="javascript:${call}">x</math>`,
  (call) => `<iframe src="javascript:${call}"></iframe>`,
  (call) => `<iframe srcdoc="<script>${call}</script>"></iframe>`,
  (call) => `<details open ontoggle="${call}">x</details>`,
  (call) => `<input autofocus onfocus="${call}">`,
  (call) => `<video><source onerror="${call}"></video>`,
  (call) => `<template><img src=x onerror="${call}"></template>`,
  (call) => `<style>@import 'javascript:${call}'</style>`,
  (call) => `javascript:${call}`,
  (call) => `data:text/html,<script>${call}</script>`,
  (call) => `{{constructor.constructor("${call}")()}}`,
  (call) => `\u2028\u202e<b onmouseover="${call}">\u0000x</b>`,
];

/** A hundred texts that would become markup or a script wherever text is taken for either. */
export const MARKUP: readonly string[] = SHAPES.flatMap((shape) => CALLS.map(shape));
