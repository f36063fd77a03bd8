# frozen_string_literal: true

module Transfer
  # Resuming.
  class CLI
    desc "resume [RUN]", "Resume an interrupted training"
    long_desc <<~TEXT, wrap: false
      A training that was stopped, killed or cut off by a power failure goes on after
      the last epoch that was kept, and ends with the same weights and metrics as if
      nothing had happened. Without RUN it lists the interrupted trainings.

        transfer resume
        transfer resume 20260314-150926-535897 --save signs.transfer
        transfer resume 20260314-150926-535897 --data /new/place/of/photos

      The photos must be those it began with. To discard a training:

        transfer runs remove 20260314-150926-535897

      RUN is an id. With --trust it can also be the path of a run's directory, from
      another machine or another user, whose content you vouch for: it may run code.
    TEXT
    option :save, group: "Model file", banner: "FILE", desc: "Where to save the model"
    option :force, group: "Model file", type: :boolean, desc: "Overwrite the file if it is there"
    option :head_only, group: "Model file", type: :boolean, desc: "Leave the backbone out"
    option :sign, group: "Model file", banner: "KEY", desc: "Sign the model with this private key"
    option :data, banner: "DATA", desc: "Where the photos are by now"
    option :trust, type: :boolean, desc: "Read a run from elsewhere, which may run code"
    option :quiet, type: :boolean, desc: "Show no progress"
    json_option
    # Lists runs, or resumes one.
    def resume(run = nil)
      return list_resumable unless run

      train_and_save do |on|
        Transfer.resume(run, quiet: options[:quiet], trust: options[:trust] || false, data: options[:data], on:)
      end
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

    def resumable_row(run)
      [run.id, run.created_at&.localtime&.strftime("%F %R"), run.backbone, data_of(run), done_of(run)]
    end
  end
end
