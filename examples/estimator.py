"""A data frame with strings, gaps and wrong labels, in scikit-learn: search for a loss and a learning rate.

    python examples/estimator.py

Thirty per cent of the training labels of scikit-learn's breast_cancer are wrong; those of the test rows are right.
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split

import autorobustloss as arl


def tumours() -> tuple[pd.DataFrame, pd.Series]:
    """Return measurements, one of them in words and some missing, and labels as text."""
    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.iloc[:, :10].copy()
    frame["mean texture"] = pd.cut(frame["mean texture"], 4, labels=["smooth", "soft", "rough", "harsh"]).astype(str)
    frame.loc[::7, "mean area"] = np.nan
    return frame, bunch.target.map({0: "malignant", 1: "benign"})


if __name__ == "__main__":
    X, X_test, y, y_test = train_test_split(*tumours(), test_size=0.3, random_state=0)
    wrong = np.random.default_rng(0).random(len(y)) < 0.3
    y = y.where(~wrong, y.map({"malignant": "benign", "benign": "malignant"}))
    grid = {"loss": ["ce", "gce", "arl"], "lr": [1e-3, 3e-3]}
    search = GridSearchCV(arl.RobustClassifier(random_state=0), grid, cv=3).fit(X, y)
    print(f"chosen by noisy labels: {search.best_params_}")
    print(f"{100 * search.score(X_test, y_test):.1f} % of the right test labels")
    print(pd.DataFrame(search.predict_proba(X_test.head(3)), columns=search.classes_).round(2))
