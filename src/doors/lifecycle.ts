/**
 * `keywright/lifecycle`: declarations, observing, planning, applying; and where PINs come from.
 * @module
 */
export { HostError } from "../host/errors.ts";
export { type Access, type Surroundings, withTokens } from "../lifecycle/access.ts";
export { type Applied, type ApplyOptions, apply, StalePlanError } from "../lifecycle/apply/apply.ts";
export type { KeyResult, Progress } from "../lifecycle/apply/execute.ts";
export { type Declaration, DeclarationError, declarationSchema, readDeclaration } from "../lifecycle/declaration.ts";
export { type ImportWish, importKeyPair } from "../lifecycle/import.ts";
export type { Observation } from "../lifecycle/observation.ts";
export { observe } from "../lifecycle/observe.ts";
export { type PlanOptions, plan } from "../lifecycle/plan/plan.ts";
export { hasChanges, type Plan, refusals, type Step } from "../lifecycle/plan/steps.ts";
export { type Status, statusOf } from "../lifecycle/status.ts";
export { asksPerson, type PinSource, PinSourceError, type Prompt, readPin } from "../pins/sources.ts";
