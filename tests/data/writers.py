"""Documents written as files of ids by the tools that write them, or just as their code does."""

from pathlib import Path

import numpy as np

Documents = list[list[int]]


def datatrove(folder: Path, name: str, documents: Documents, width: int = 2) -> Path:
    """<name>.ds with .index and .metadata, by datatrove's `TokenizedFile`."""
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    file = TokenizedFile(
        str(folder), f"{name}.ds", save_final_metadata=True, tokenizer_name_or_path="gpt2", token_size=width
    )
    for document in documents:
        file.write(document, None)
    file.close()
    return folder / f"{name}.ds"


def megatron(folder: Path, name: str, documents: Documents, width: int = 2) -> Path:
    """<name>.bin and <name>.idx, by datatrove's `MegatronTokenizedFile`."""
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronTokenizedFile

    file = MegatronTokenizedFile(str(folder), name, token_size=width)
    file.upload_block_size = None  # `close` reads it; its constructor does not set it
    for document in documents:
        file.write(document)
    file.close()
    return folder / f"{name}.idx"


def nanogpt(folder: Path, name: str, documents: Documents, width: int = 2) -> Path:
    """As `data/openwebtext/prepare.py` of karpathy/nanoGPT: a memory map of uint16, filled."""
    ids = np.concatenate(documents)
    file = np.memmap(folder / f"{name}.bin", dtype=f"<u{width}", mode="w+", shape=(len(ids),))
    file[:] = ids
    file.flush()
    return folder / f"{name}.bin"


def llmc(folder: Path, name: str, documents: Documents, width: int = 2) -> Path:
    """As `write_datafile` of karpathy/llm.c, dev/data/data_common.py; modded-nanogpt's are the same."""
    ids, header = np.concatenate(documents), np.zeros(256, dtype=np.int32)
    header[:3] = *{2: (20240520, 1), 4: (20240801, 7)}[width], len(ids)
    (folder / f"{name}.bin").write_bytes(header.tobytes() + ids.astype(f"<u{width}").tobytes())
    return folder / f"{name}.bin"


def olmo(folder: Path, name: str, documents: Documents, width: int = 2) -> Path:
    """As docs/source/guides/data_loading.rst of allenai/OLMo-core: a memory map without a header, for all its name."""
    ids = np.concatenate(documents)
    file = np.memmap(folder / f"{name}.npy", mode="w+", dtype=f"<u{width}", shape=(len(ids),))
    file[:] = ids
    file.flush()
    return folder / f"{name}.npy"


def numpy(folder: Path, name: str, documents: Documents, width: int = 2) -> Path:
    np.save(folder / f"{name}.npy", np.concatenate(documents).astype(f"<u{width}"))
    return folder / f"{name}.npy"


def saved(folder: Path, name: str, documents: Documents, width: int = 4) -> Path:
    """<name>/state.json and its arrow files, by `save_to_disk` of Hugging Face, with the columns of a tokenizer."""
    import datasets

    rows = {"input_ids": documents, "attention_mask": [[1] * len(document) for document in documents]}
    kind = datasets.Sequence(datasets.Value(f"int{8 * width}"))
    features = datasets.Features({"input_ids": kind, "attention_mask": datasets.Sequence(datasets.Value("int8"))})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(folder / name), num_shards=2)
    return folder / name / "state.json"


def parquet(folder: Path, name: str, documents: Documents, width: int = 4) -> Path:
    import datasets

    datasets.Dataset.from_dict({"input_ids": documents}).to_parquet(str(folder / f"{name}.parquet"), batch_size=7)
    return folder / f"{name}.parquet"


WRITERS = {
    "datatrove": datatrove,
    "megatron": megatron,
    "nanogpt": nanogpt,
    "llmc": llmc,
    "olmo": olmo,
    "numpy": numpy,
    "saved": saved,
    "parquet": parquet,
}
TELL_ENDS = ["datatrove", "megatron", "saved", "parquet"]
