# frozen_string_literal: true

module Transfer
  module Rails
    # A training of {TrainJob}: its state, its history and, while it is interrupted, its checkpoint.
    class Run < Record
      ACTIVE = %w[enqueued running interrupted].freeze
      STATUSES = [*ACTIVE, "succeeded", "failed", "cancelled"].freeze

      belongs_to :model
      belongs_to :version, optional: true
      has_one_attached :checkpoint

      after_update_commit :announce, if: :saved_change_to_status?

      validates :status, inclusion: STATUSES
      validates :recipe, format: /\A[A-Z]\w*(::[A-Z]\w*)*\z/

      scope :active, -> { where(status: ACTIVE) }
      # The columns of a table of runs; examples and history of a long training are megabytes.
      scope :listed, -> { select(:id, :model_id, :status, :created_at, :finished_at).includes(:model).order(id: :desc) }
      scope :lost, lambda {
        where(status: "running").where(heartbeat_at: ...Rails.settings.lost_after.seconds.ago)
      }

      # Enqueues the trainings again whose process has died.
      # @return [Array<Run>]
      def self.requeue_lost
        lost.select do |run|
          taken = lost.where(id: run.id).update_all(status: "interrupted", updated_at: Time.current)
          TrainJob.perform_later(run) if taken == 1
          taken == 1
        end
      end

      # @return [Boolean]
      def active? = ACTIVE.include?(status)

      # Requests the end of the training, which follows within seconds; one that has not begun ends at once.
      # @return [self]
      def cancel
        update!(cancel_requested: true)
        Run.where(id:, status: %w[enqueued interrupted])
           .update_all(status: "cancelled", finished_at: Time.current, updated_at: Time.current)
        reload
      end

      # Takes the run for this process.
      # @return [Boolean] false if another process trains it, or it has ended
      def begin!
        waiting = Run.where(id:, status: %w[enqueued interrupted], cancel_requested: false)
        now = Time.current
        taken = waiting.update_all(status: "running", heartbeat_at: now, started_at: started_at || now, updated_at: now)
        reload
        taken == 1
      end

      # @return [Class] the recipe of the application
      # @raise [Transfer::ConfigurationError] if the application has no recipe of this name
      def recipe_class
        found = recipe.safe_constantize
        return found if found.is_a?(Class) && found < Transfer::Recipe

        raise ConfigurationError, "there is no recipe #{recipe}. Fix: define it in app/recipes"
      end

      private

      def announce
        ActiveSupport::Notifications.instrument("run.transfer", run: self, model: model.name, status:, error:)
      end
    end
  end
end
