import { useRef, useState } from "preact/hooks";
import type { LinkData, PlatformData } from "../../../api/v1-platforms-schema.ts";
import { post } from "../api.ts";
import { w as apps } from "../apps/words.ts";
import { relative } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Dialog, FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField } from "../parts/field.tsx";
import { w as parts } from "../parts/words.ts";
import { PLATFORMS } from "./platforms.tsx";
import { w } from "./words.ts";

/** Makes a link by which somebody authorizes the platform, and shows it; with `account`, only that one may. */
export function LinkDialog(props: {
  readonly of: PlatformData;
  readonly account: string;
  readonly onClose: () => void;
}) {
  const { platform, kind } = props.of;
  const isComponent = kind === "component";
  // A form closes itself when it is done: here its place is taken.
  const isDone = useRef(false);
  const [made, setMade] = useState<LinkData | undefined>(undefined);
  const [authType, setAuthType] = useState("");
  const [account, setAccount] = useState(props.account);
  const [isMobile, setIsMobile] = useState(false);
  const [isTest, setIsTest] = useState(false);
  const [returnUrl, setReturnUrl] = useState("");
  if (made)
    return (
      <Dialog title={w.link} onClose={props.onClose} isWide>
        <div class="fields">
          <p>{w.linkHint(relative(made.expires_at))}</p>
          <Code label={w.link} text={made.url} />
        </div>
        <footer>
          <Button onClick={props.onClose}>{parts.close}</Button>
        </footer>
      </Dialog>
    );
  const make = async () => {
    const options = isComponent
      ? {
          ...(authType === "" ? {} : { auth_type: Number(authType) }),
          ...(account.trim() === "" ? {} : { biz_app_id: account.trim() }),
          ...(isMobile ? { mobile: true } : {}),
        }
      : isTest
        ? { test: true }
        : {};
    const link = await post<LinkData>(`${PLATFORMS}/${platform}/links`, {
      ...options,
      ...(returnUrl.trim() === "" ? {} : { return_url: returnUrl.trim() }),
    });
    isDone.current = true;
    setMade(link);
  };
  return (
    <FormDialog
      title={w.newLink}
      action={w.newLink}
      onClose={() => isDone.current || props.onClose()}
      onSubmit={make}
    >
      {isComponent ? (
        <>
          <SelectField
            label={apps.type}
            value={authType}
            onInput={setAuthType}
            options={[
              ["", w.both],
              ["1", w.official],
              ["2", w.miniprogram],
            ]}
          />
          <TextField label={w.bizAppId} value={account} onInput={setAccount} isMono isOptional />
          <CheckField label={w.isMobile} isChecked={isMobile} onInput={setIsMobile} />
        </>
      ) : (
        <CheckField label={w.isTest} isChecked={isTest} onInput={setIsTest} />
      )}
      <TextField
        label={w.returnUrl}
        value={returnUrl}
        onInput={setReturnUrl}
        placeholder="https://"
        isMono
        isOptional
      />
    </FormDialog>
  );
}
