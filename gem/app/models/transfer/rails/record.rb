# frozen_string_literal: true

module Transfer
  module Rails
    # Base of the tables of the engine. An application with several databases chooses one in a load hook:
    # `ActiveSupport.on_load(:transfer_record) { connects_to database: { writing: :models } }`.
    class Record < ActiveRecord::Base
      self.abstract_class = true

      ActiveSupport.run_load_hooks(:transfer_record, self)

      # Runs the block in a transaction that has the row locked. Its first statement is a write: in SQLite a transaction
      # that has only read fails to write, without waiting, once another process has written.
      # @yieldreturn [Object]
      # @return the result of the block
      def exclusively
        transaction do
          self.class.where(id:).update_all(updated_at: Time.current)
          reload
          yield
        end
      end
    end
  end
end
