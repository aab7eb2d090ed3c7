"""How each command is called: the first thing that its help shows."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "mlmeta": (
        "mlmeta backup --tracking-uri http://localhost:5000",
        "mlmeta list",
        "mlmeta restore latest --tracking-uri sqlite:///mlflow.db",
    ),
    "backup": (
        "mlmeta backup --tracking-uri http://localhost:5000",
        "mlmeta backup --storage gs://bucket/mlflow --keep-daily 7 --keep-monthly 12",
    ),
    "list": ("mlmeta list", "mlmeta list --storage gs://bucket/mlflow --source prod --limit 10"),
    "show": (
        "mlmeta show",
        "mlmeta show --experiment churn --sort 'metrics.loss ASC'",
        "mlmeta show --run 4f2a91c3 --metric loss",
        "mlmeta show 20260815_232928 --models",
    ),
    "diff": ("mlmeta diff latest~1 latest", "mlmeta diff latest --tracking-uri http://localhost:5000"),
    "restore": (
        "mlmeta restore latest --tracking-uri sqlite:///mlflow.db --dry-run",
        "mlmeta restore 20260815_232928 --tracking-uri sqlite:///mlflow.db",
    ),
    "verify": ("mlmeta verify", "mlmeta verify --all --drill"),
    "prune": ("mlmeta prune --keep-daily 7 --keep-monthly 12 --dry-run",),
    "forget": ("mlmeta forget 20260815_232928",),
    "copy": ("mlmeta copy --missing --from backups --to gs://bucket/mlflow",),
    "migrate": ("mlmeta migrate sqlite:///mlflow.db postgresql://user@host/mlflow --dry-run",),
    "rewrite": ("mlmeta rewrite --artifact-prefix gs://old=gs://new --dry-run",),
    "doctor": ("mlmeta doctor --storage gs://bucket/mlflow --max-age 26h",),
    "browse": ("mlmeta browse latest",),
    "report": ("mlmeta report latest -o report.html", "mlmeta report --experiment churn --open"),
    "guard": ("mlmeta guard -- mlflow server --backend-store-uri sqlite:///mlflow.db",),
    "demo": ("mlmeta demo",),
    "config": ("mlmeta config", "mlmeta --profile prod config backup"),
}
