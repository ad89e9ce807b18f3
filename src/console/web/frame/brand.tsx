import { language } from "../language.ts";
import { w } from "./words.ts";

/** Our mark and name. */
export function Brand() {
  return (
    <>
      <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
        <path d="M12 2 21 7v10l-9 5-9-5V7Z" />
        <path d="m8 12 3 3 5-6" />
      </svg>
      <span>accesstoken</span>
    </>
  );
}

/** Changes to the other language, in the name of which it is written. */
export function LanguageSwitch() {
  const other = language.value === "zh" ? "en" : "zh";
  return (
    <button
      type="button"
      class="button quiet language"
      lang={other === "zh" ? "zh-CN" : "en"}
      onClick={() => (language.value = other)}
    >
      {w.otherLanguage}
    </button>
  );
}
