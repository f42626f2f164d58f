// What both adapters of lmdb need to know of it.

/** What made a commit fail. lmdb hides it in a promise that rejects, and takes the process down if nobody looks. */
export async function commitError(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  try {
    return await error.commitError;
  } catch (reason) {
    return reason;
  }
}
