/**
 * The attributes of a PKCS#11 URI (RFC 7512 section 2.3): what each matches, and in which part it stands.
 * @module
 */

/** Path attributes, in the order in which they are printed. */
export const URI_PATH = {
  token: "tokenInfo.label",
  manufacturer: "tokenInfo.manufacturerID",
  serial: "tokenInfo.serialNumber",
  model: "tokenInfo.model",
  "library-manufacturer": "info.manufacturerID",
  "library-version": "info.libraryVersion",
  "library-description": "info.libraryDescription",
  object: "CKA_LABEL",
  type: "CKA_CLASS",
  id: "CKA_ID",
  "slot-manufacturer": "slotInfo.manufacturerID",
  "slot-description": "slotInfo.slotDescription",
  "slot-id": "slot",
} as const;

/** Query attributes. */
export const URI_QUERY = ["pin-source", "pin-value", "module-name", "module-path"] as const;

/** The values of `type`, and the object class that each stands for. */
export const URI_TYPES = {
  public: 0x2,
  private: 0x3,
  cert: 0x1,
  "secret-key": 0x4,
  data: 0x0,
} as const;

export type UriPathName = keyof typeof URI_PATH;
export type UriType = keyof typeof URI_TYPES;
