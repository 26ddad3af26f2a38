"""Data and results without a shared file system: through a folder of a bucket, the *exchange*.

    <url>/data/<sha256>              a file that folds need, or the list of all of them; written once, by the driver
          folds/<attempt>/<sha256>   the files of one attempt at a fold, and their list; gone when the driver has them

Tasks and answers travel by the executor and name lists by their hash; lists name files by theirs. So nobody has to
trust the bucket: whatever somebody else puts into it has another hash, and is not used. `bucket` moves files, `listing`
is what lists hold, `publish` and `node` are the way to a worker, `folds` is the way back.
"""
