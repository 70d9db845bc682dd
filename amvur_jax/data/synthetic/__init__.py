"""Made-up hands with labels: scenes, paint, and writers in the data sets' own layouts."""
