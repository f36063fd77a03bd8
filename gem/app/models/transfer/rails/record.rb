# frozen_string_literal: true

module Transfer
  module Rails
    # Base of the tables of the engine. An application with several databases chooses one in a load hook:
    # `ActiveSupport.on_load(:transfer_record) { connects_to database: { writing: :models } }`.
    class Record < ActiveRecord::Base
      self.abstract_class = true

      ActiveSupport.run_load_hooks(:transfer_record, self)
    end
  end
end
