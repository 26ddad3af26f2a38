"""Out-of-fold logits in; a weighted, calibrated ensemble and the contest's submission out.

    candidates ─► select ─► pool, calibration ─► fitting ─► estimate ─► build: build_ensemble() ─► Ensemble
                                                    └─► bootstrap, alternatives ─┘      │
                            averaging: what the test photos gain from K fold models ◄───┤
    predictions ─► submission_check ─► submission: write_submission() ◄─────────────────┤
         ├───────► scorer: score_submission() ◄─── dry_run                              │
         ├─► alignment, normalise ─┬─► blend_files, blend_inputs ─► blending: blend()   │
         │                         └─► confidence, reliability ─► analysis: analyze()   │
         └─► prediction_file                                         bundle_files ◄─────┘

Nothing here imports torch or runs a plugin's code.
"""
