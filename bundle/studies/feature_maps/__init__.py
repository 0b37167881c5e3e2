"""The score maps F1, F2, F3 of a study of the DCN: pictures, statistics, a rule that reads them, and a search by it.

``python -m bundle.studies.feature_maps --study configs/studies/dcn_kernels.json --dataset_dir DIR`` works on the runs
that are complete, and may be repeated; ``python -m bundle.studies.feature_maps.kernel_search`` trains.
"""
