"""Reports of several variants side by side, all made from one `testbed.experiment.result.Study`."""
