"""MFRecommender and FMRecommender."""
