/**
 * How a plan is shown, in the manner of terraform: a sign, what is done, and why.
 * @module
 */
import { GLYPH, hasChanges, type Plan, type Step } from "../../lifecycle/plan/steps.ts";
import type { Style, View } from "../io.ts";
import { count } from "../words.ts";

export const planView: View<Plan> = {
  schema: "keywright/plan/1",
  human: (plan, style) => planText(plan, style),
};

function planText(plan: Plan, style: Style): string {
  const lines: string[] = [];
  const tokens = plan.steps.filter((step) => !("key" in step));
  for (const step of tokens) lines.push(...stepLines(step, style));
  if (tokens.length > 0) lines.push("");
  for (const key of new Set(plan.steps.flatMap((step) => ("key" in step ? [step.key] : [])))) {
    const steps = plan.steps.filter((step) => "key" in step && step.key === key);
    if (steps.every((step) => step.action === "keep" && step.ended !== true)) continue;
    lines.push(style.bold(key));
    for (const step of steps) lines.push(...stepLines(step, style).map((line) => `  ${line}`));
    lines.push("");
  }
  return [...lines, summary(plan)].join("\n");
}

/** `Plan: 2 to make, 1 to renew, 3 unchanged.` */
function summary(plan: Plan): string {
  const keys = [...new Set(plan.steps.flatMap((step) => ("key" in step ? [step.key] : [])))];
  const having = (test: (step: Step) => boolean) =>
    keys.filter((key) => plan.steps.some((step) => "key" in step && step.key === key && test(step))).length;
  const made = having((step) => step.action === "generate");
  const refused = having((step) => step.action === "refuse");
  const waiting = having((step) => step.action === "wait" || step.action === "skip");
  const kept = keys.filter((key) =>
    plan.steps.every((step) => !("key" in step) || step.key !== key || step.action === "keep"),
  ).length;
  const changed = keys.length - made - refused - waiting - kept;
  const parts = [
    made > 0 ? `${count(made, "key")} to make` : "",
    changed > 0 ? `${count(changed, "key")} to change` : "",
    waiting > 0 ? `${waiting} waiting` : "",
    refused > 0 ? `${refused} refused` : "",
    kept > 0 ? `${kept} unchanged` : "",
  ].filter((part) => part !== "");
  if (!hasChanges(plan) && refused === 0 && waiting === 0) return `Nothing to do: ${count(kept, "key")} as declared.`;
  return `Plan: ${parts.join(", ")}.`;
}

function stepLines(step: Step, style: Style): string[] {
  const [head, ...details] = describeStep(step);
  return [`${paint(step, style)} ${head}`, ...details.map((detail) => `    ${style.dim(detail)}`)];
}

function paint(step: Step, style: Style): string {
  const glyph = GLYPH[step.action];
  if (glyph === "+") return style.green(glyph);
  if (glyph === "-" || glyph === "x") return style.red(glyph);
  return glyph === "~" || glyph === "!" ? style.yellow(glyph) : glyph;
}

/** What a step does: one line, and the lines that belong to it. Also used to show progress. */
export function describeStep(step: Step): string[] {
  switch (step.action) {
    case "initialise":
      if (step.onlyPin === true) return [`set the user PIN of the token ${step.token}, which has none yet`];
      return [`initialise the token ${step.token} with the label ${JSON.stringify(step.label)}`];
    case "initHook":
      return [`run the hook ${step.hook} of the token ${step.token}  # ${step.reason}`];
    case "generate":
      return [
        `generate ${step.type} in ${step.token}  # ${step.reason}`,
        `id 0x${step.identity.id}, label ${JSON.stringify(step.identity.label)}, usage ${step.usage.join(", ")}`,
      ];
    case "issue":
    case "adopt":
    case "renew": {
      const { subject, issuer, notBefore, notAfter, extensions } = step.certificate;
      const verb = { issue: "certify", adopt: "certify the key that is there", renew: "renew the certificate" }[
        step.action
      ];
      return [
        `${verb}  # ${step.reason}`,
        `subject ${subject}, ${issuer === undefined ? "signed by itself" : `issued by ${issuer}`}`,
        `valid ${notBefore.slice(0, 10)} to ${notAfter.slice(0, 10)}`,
        ...extensions,
      ];
    }
    case "request":
      return [`write a certificate request to ${step.path}  # ${step.reason}`, `subject ${step.subject}`];
    case "import":
      return [`import the certificate from ${step.path}  # ${step.reason}`, `valid to ${step.notAfter.slice(0, 10)}`];
    case "promote":
      return [
        "give the new key its identity",
        `id 0x${step.identity.id}, label ${JSON.stringify(step.identity.label)}`,
      ];
    case "archive":
      return [
        `keep what it replaces as ${JSON.stringify(step.identity.label)}`,
        ...step.objects.map(({ class: kind, label }) => `${kind} ${JSON.stringify(label)}`),
      ];
    case "retire":
      return [
        `destroy what was replaced  # ${step.reason}`,
        ...step.objects.map(({ class: kind, label }) => `${kind} ${JSON.stringify(label)}`),
      ];
    case "publish":
      return [`publish  # ${step.reason}`, ...step.files.map(({ path, what }) => `${what} to ${path}`)];
    case "ask":
      return [`ask the hook ${step.hook}  # ${step.reason}`];
    case "hook":
      return [`run the hook ${step.hook}  # ${step.reason}`];
    case "wait":
    case "skip":
      return [`${step.action}  # ${step.reason}`];
    case "keep":
      if (step.ended === true) return keptEnded(step.key, step.notAfter!);
      return [`keep${step.notAfter === undefined ? "" : `, valid to ${step.notAfter.slice(0, 10)}`}`];
    case "refuse":
      return [`refuse: ${step.reason}`, ...step.hints];
  }
}

function keptEnded(key: string, notAfter: string): string[] {
  return [
    `keep, though its certificate ended on ${notAfter.slice(0, 10)}, for no renewBefore is declared`,
    `a new one: declare renewBefore, or keywright apply --rotate ${key}`,
  ];
}
