# frozen_string_literal: true

require "pycall/helper"
require "shared/training"
require "shared/errors"
require "shared/resume"

RSpec.describe "Transfer over PyCall", :end_to_end do
  include_examples "training and its results"
end

RSpec.describe "Errors over PyCall", :end_to_end do
  include_examples "errors"
end

RSpec.describe "An interrupted training over PyCall", :end_to_end do
  include_examples "an interrupted training"
end

RSpec.describe "Signed models over PyCall", :end_to_end do
  include Keys

  it "are loaded with their key only" do
    key, other = %w[key other].map { |name| key_pair(File.join(@scratch, name)) }
    photos = photo_folder(File.join(@scratch, "photos"), count: 5)
    file = File.join(@scratch, "m.transfer")
    Transfer.train(backbone: "mobilenet_v2", data: photos, seed: 1).save(file, sign: key.private)
    expect(Transfer.load(file, signed_by: key.public).predict(File.join(photos, "red/0.png")).label).to eq("red")
    expect { Transfer.load(file, signed_by: other.public) }.to raise_error(Transfer::SignatureError)
  end
end
