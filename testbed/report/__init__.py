"""Reports: one file per format, all made from one `testbed.experiment.result.Result`."""
