import { faults } from "./faults.ts";

faults({
  name: "the built-in token",
  codes: ["CKR_DEVICE_ERROR", "CKR_DEVICE_REMOVED", "CKR_FUNCTION_FAILED"],
  declare: (label) => `{ module: softtoken, store: store/token.db, label: ${label} }`,
});
