/** One JSON line an entry; what pino offers and all that the parts of this service use of it. */
export interface Log {
  readonly debug: (fields: object, message: string) => void;
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  /** For people on call: something needs a person. */
  readonly error: (fields: object, message: string) => void;
}
