"""Studies: variants of a training, several times each, as child runs of one run in MLflow.

``python -m bundle.studies --study configs/studies/em_ablation.json --dataset_dir DIR`` runs or resumes one.
"""
