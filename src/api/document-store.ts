import type { DocumentNode } from 'graphql';

/** What Apollo keeps parsed and validated documents in. */
export interface DocumentStore {
  readonly get: (key: string) => Promise<DocumentNode | undefined>;
  readonly set: (key: string, document: DocumentNode) => Promise<void>;
  readonly delete: (key: string) => Promise<boolean>;
}

/** A program sends few documents, again and again. */
const MAX_DOCUMENTS = 500;
/** Characters of their texts together: parsed, one takes about fifty bytes. */
const MAX_TEXT = 512 * 1024;

/**
 * The documents that were used last. Apollo's own store weighs a document by its JSON, which leaves out its tokens: clients that
 * write ids into their documents make it grow to hundreds of MiB before it forgets one.
 */
export function openDocumentStore(): DocumentStore {
  /** The one that was not used for the longest first. */
  const documents = new Map<string, DocumentNode>();
  let text = 0;
  const remove = (key: string): boolean => {
    text -= textOf(documents.get(key));
    return documents.delete(key);
  };
  return {
    get: (key) => {
      const found = documents.get(key);
      if (found !== undefined) {
        documents.delete(key);
        documents.set(key, found);
      }
      return Promise.resolve(found);
    },
    set: (key, document) => {
      remove(key);
      documents.set(key, document);
      text += textOf(document);
      for (const oldest of documents.keys()) {
        if (documents.size <= MAX_DOCUMENTS && text <= MAX_TEXT) break;
        remove(oldest);
      }
      return Promise.resolve();
    },
    delete: (key) => Promise.resolve(remove(key)),
  };
}

function textOf(document: DocumentNode | undefined): number {
  return document?.loc?.source.body.length ?? 0;
}
