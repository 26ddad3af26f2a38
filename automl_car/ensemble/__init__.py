"""Out-of-fold logits in; a weighted, calibrated ensemble and the contest's submission out.

    losses ─► calibration ─► select ─► pool ─► fitting ─► estimate ─► build: build_ensemble() ─► Ensemble
                                                                                                    │
    predictions ─► submission_check ─► submission: write_submission() ◄─────────────────────────────┘
         ├───────► scorer: score_submission()
         └─► alignment, normalise ─┬─► blend_files, blend_inputs ─► blending: blend()
                                   └─► confidence, reliability ─► analysis: analyze()

Nothing here imports torch or runs a plugin's code.
"""
