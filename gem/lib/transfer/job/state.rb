# frozen_string_literal: true

module Transfer
  class Job
    # A training after its events so far, replaced as a whole with each event: other threads read it meanwhile.
    State = ::Data.define(:run_id, :progress, :history, :warnings) do
      # @param run_id [String, nil]
      # @return [State] before the first event
      def self.start(run_id) = new(run_id:, progress: Progress.none, history: [], warnings: [])

      # @param event [Data] an {Event}
      # @return [State] after it
      def after(event)
        state = with(progress: progress.after(event))
        case event
        when Event::Run then state.with(run_id: event.id, history: event.history)
        when Event::Warning then state.with(warnings: warnings | [event.message])
        when Event::Epoch
          state.with(history: [*history, { step: event.step.to_s, epoch: event.number, **event.metrics }])
        else state
        end
      end
    end
    private_constant :State
  end
end
