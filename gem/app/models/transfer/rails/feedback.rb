# frozen_string_literal: true

module Transfer
  module Rails
    # A correction or confirmation of a prediction by a person.
    class Feedback < Record
      self.table_name = "transfer_feedback"

      belongs_to :prediction
      belongs_to :user, polymorphic: true, optional: true
    end
  end
end
