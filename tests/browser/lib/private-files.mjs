// The private file system of the page's origin (OPFS).

/** Lengths of the files in it. */
export const onDisk = (page) =>
  page.evaluate(async () => {
    const lengths = [];
    const walk = async (folder) => {
      for await (const entry of folder.values()) {
        if (entry.kind === 'directory') await walk(entry);
        else lengths.push((await entry.getFile()).size);
      }
    };
    await walk(await navigator.storage.getDirectory());
    return lengths;
  });
