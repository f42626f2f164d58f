/**
 * What a class of the schema describes, as plain data: resolvers answer objects, never instances. What takes work to make may be
 * a function, which GraphQL calls when its field is asked for.
 */
export type Plain<T> = T extends readonly (infer E)[]
  ? readonly Plain<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Plain<T[K]> | (() => Plain<T[K]>) }
    : T;
