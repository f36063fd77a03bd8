# frozen_string_literal: true

module Transfer
  # Going on.
  class CLI
    desc "resume [RUN]", "Go on with a training that ended too early"
    long_desc <<~TEXT, wrap: false
      A training that was stopped, killed or cut off by a power failure goes on after
      the last epoch that was kept, and ends with the same weights and metrics as if
      nothing had happened. Without RUN it lists the trainings that wait for that.

        transfer resume
        transfer resume 20260314-150926-535897 --save signs.transfer
        transfer resume 20260314-150926-535897 --data /new/place/of/photos

      The photos must be those it began with. Who does not want to go on deletes the
      folder in ~/.local/share/transfer/runs, or TRANSFER_HOME.
    TEXT
    option :save, group: "Model file", banner: "FILE", desc: "Where to save the model"
    option :force, group: "Model file", type: :boolean, desc: "Overwrite the file if it is there"
    option :head_only, group: "Model file", type: :boolean, desc: "Leave the backbone out"
    option :data, banner: "DATA", desc: "Where the photos are by now"
    option :quiet, type: :boolean, desc: "Show no progress"
    json_option
    # Lists runs, or resumes one.
    def resume(run = nil)
      return list_resumable unless run

      train_and_save { |on| Transfer.resume(run, quiet: options[:quiet], data: options[:data], on:) }
    end

    private

    def list_resumable
      runs = Transfer.resumable
      answer(runs.map { |run| described(run) }) do
        next puts "No training waits to be resumed" if runs.empty?

        puts Table.render([%w[run began backbone data done], *runs.map { |run| resumable_row(run) }])
        puts "Next: transfer resume #{runs.last}"
      end
    end

    def described(run)
      { id: run.id, path: run.path.to_s, created_at: run.created_at&.iso8601, step: run.step, epoch: run.epoch,
        epochs: run.epochs, recipe: run.recipe }
    end

    def resumable_row(run)
      data = run.recipe[:data] || {}
      done = run.step ? "epoch #{run.epoch} of #{run.epochs}, #{run.step.to_s.tr('_', '-')}" : "no epoch yet"
      [run.id, run.created_at&.localtime&.strftime("%F %R"), run.recipe[:backbone],
       data[:path] || data.dig(:train, :path) || "rows", done]
    end
  end
end
