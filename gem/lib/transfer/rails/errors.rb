# frozen_string_literal: true

module Transfer
  module Rails
    # A training of the model has not ended yet.
    class TrainingUnderway < Error; end

    # A version is worse than the live one, or the model has no previous version.
    class NotPromoted < Error; end
  end
end
